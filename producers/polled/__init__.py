"""Source kind `polled`: tables of databases whose log cannot be read, asked again and again (轮询) through SQLAlchemy."""
