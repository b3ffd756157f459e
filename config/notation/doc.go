// Package notation reads and writes single values as people write them in a configuration: sizes,
// durations, times of the week, rates, networks and addresses. It knows neither keys nor TOML, and
// what a function here writes it also reads.
package notation
