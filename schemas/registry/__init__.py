"""The schema registry: Confluent-compatible, a service of its own, kept in a compacted Kafka topic.

| file         | what it is                                                              |
|--------------|-------------------------------------------------------------------------|
| `record.py`  | the topic's records, in Confluent's format                              |
| `state.py`   | what the records add up to                                              |
| `topic.py`   | the one fenced writer of the topic, and its reader                      |
| `refusal.py` | the errors of the REST interface, by code                               |
| `candidate.py` | a schema that somebody sends: read, checked, canonical                |
| `answers.py` | what it answers to questions, out of its state                         |
| `judge.py`   | reads and compares schemas, beside the loop                             |
| `service.py` | what may be registered, deleted and configured                          |
| `routes.py`  | the REST interface                                                      |
| `server.py`  | the process                                                             |
| `client.py`  | how our own hops ask it                                                 |

Upholds invariant 5: a version never changes, an id means one schema for ever, and compatibility is enforced at registration.
Imports nothing of ours but `schemas`.
"""
