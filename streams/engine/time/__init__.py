"""The flows' time: event clocks, how far they may go, ticks in slices, and a past that is replayed."""
