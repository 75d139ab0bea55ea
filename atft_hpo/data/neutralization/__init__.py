"""What sectors and styles explain of returns, and the labels of the loss, raw or freed of it."""
