-- system.promoted_attributes: a row is a column of the table that holds a frequent attribute; a key of several types has several.
SELECT map, key, type, column_name FROM internal.promoted
