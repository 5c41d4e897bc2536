"""Office: a department's own program (部门办件程序), the same for all; it sees its department's database and nothing else.

    mesh ─▶ schema `mesh` of that database ─▶ office: what is asked, by the registers beside it ─▶ `public.<answer>` ─▶ capture

It decides by its own registers, and now and then as people do: late, wrongly, never, or one way and then the other
(conduct.py). What the mesh withholds from a department, nobody there answers.
"""
