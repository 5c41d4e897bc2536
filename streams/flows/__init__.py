"""The city's systems, one package each: pure folds on the four operators, with their dated configuration beside them.

A flow's package exports `FLOW`, or `FLOWS` where it is several. Nothing here knows a broker, a clock or a log; configuration
is read once, when the package is imported (configuration.py).
"""
