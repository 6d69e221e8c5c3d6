"""What is told of the rows of bench.json: a table, a recommendation, a picture."""
