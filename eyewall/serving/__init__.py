"""The model repository, the embedded model server, the client, and the steps publish, serve and forecast."""
