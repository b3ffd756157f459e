// Package spool reads record files in the order in which they were written, over rotation,
// compression and reopening, and knows how much of them is not delivered.
package spool
