"""How the flows' subjects are divided among tasks, and how more tasks take over their part while all go on."""
