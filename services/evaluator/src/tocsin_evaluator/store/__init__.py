"""Tables and named statements. Each function is one statement, or says so; each names its index and its lock order.

Lock order everywhere: facts by (kind, id) in the order of `FactKind`, then alerts by (kind in the registry's order,
id), then occurrences.
"""
