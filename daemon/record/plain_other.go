//go:build !amd64 || purego

package record

// plain returns how many bytes at the head of data are plain: printable ASCII without backslashes
// and, if quotes says so, without quotes.
func plain(data []byte, quotes bool) int { return plainGo(data, quotes) }
