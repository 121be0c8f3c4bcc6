# No Python face: RunScan (run_scan) is it.
