// Placeholder until the first test of this library lands.
