"""The words everybody speaks: interfaces, records, configs, errors, shapes, lattices, metrics, files."""
