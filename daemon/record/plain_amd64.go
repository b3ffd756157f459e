//go:build !purego

package record

// plain returns how many bytes at the head of data are plain: printable ASCII without backslashes
// and, if quotes says so, without quotes.
func plain(data []byte, quotes bool) int {
	if len(data) < 16 {
		return plainGo(data, quotes)
	}
	stop := byte('\\')
	if quotes {
		stop = '"'
	}
	return plainSSE2(data, stop)
}

// plainSSE2 returns how many bytes at the head of data, which are 16 or more, are printable ASCII
// without backslashes and stop. Each amd64 has SSE2; with AVX2 it would not be faster for messages
// of a few hundred bytes.
//
//go:noescape
func plainSSE2(data []byte, stop byte) int
