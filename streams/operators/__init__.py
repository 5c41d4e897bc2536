"""The four operators that carry the city's systems, and the engine under them.

flow.py      the words a flow is written in: Input, Subject, Fact, Outcome
intake.py    hop one: changes of feeds become messages to subjects, partitioned by subject
folding.py   hop two: messages become facts, folds become differences; pure, over a Store
merge.py     many feeds, one record (archives, credit databases)
ask.py       one case, many departments (quota, household check, registration push)
silence.py   what officers may say of an answer that is overdue
decided.py   what becomes of a subject of whose queue items officers decided some
watch.py     evidence that should have come (tax warnings, unclaimed pushes, expiry)
publish.py   what may be seen: projections, masks, groups of at least k (credit views, open data)
"""
