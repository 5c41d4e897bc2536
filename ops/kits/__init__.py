"""Kits (客户端套件): what a subscriber takes away to read, by itself, what it may read; for `mesh kit` and the console.

A kit is a folder of programs that are the same for everybody, and of what is its subscriber's own: addresses, topics, columns. No
secret is in it; its README says where each is put.
"""
