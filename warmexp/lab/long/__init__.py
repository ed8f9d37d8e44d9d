"""The long lab: word problems of two to eight steps whose answers take 50 to 190 tokens, beside the quick lab of one to
three."""
