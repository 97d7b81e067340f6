"""The networks of the split study, each with its cut layers named."""
