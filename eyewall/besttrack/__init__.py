"""Best tracks: one table with units in its names, whatever agency's file it came from."""
