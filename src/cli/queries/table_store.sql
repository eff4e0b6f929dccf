SELECT name, value, description FROM system.store
