"""From a bound chunk to calls and their answers: permits, attempts, what follows from each."""
