# No Python face: TableReader (table) opens tables.
