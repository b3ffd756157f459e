package session

// BatchSize is about how much a session gives to its sink at once: what it has encoded before the last
// message of a batch is less.
const BatchSize = outSize
