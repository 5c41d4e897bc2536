"""The log: what speaks to Kafka: who connects, what is written and read, what topics there are and who may use them."""
