"""C source for microcontrollers, and the interpreter that checks it."""
