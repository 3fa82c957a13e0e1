"""The server of `samebits serve`: OpenAI's HTTP interface on a model, with the same bits for every answer, whatever else is asked."""
