"""Subscription: what a subscriber can do about its own delivery: pause it, let it go on, deliver it again, try its target."""
