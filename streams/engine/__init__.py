"""The flows' engine: changes to messages, messages to facts of subjects, subjects folded, and what differs is published."""
