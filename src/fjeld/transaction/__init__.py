"""Transactions: one writer at a time (`TxKeyspace`), or many that may conflict (`OptimisticTxKeyspace`)."""
