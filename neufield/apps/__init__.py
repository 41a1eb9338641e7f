"""The only place that parses arguments, prints, draws, or decides where files go."""
