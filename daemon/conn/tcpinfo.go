package conn

import (
	"cmp"
	"time"

	"golang.org/x/sys/unix"
)

// TCPInfo is what the kernel knows of a connection (tcp(7), TCP_INFO).
type TCPInfo struct {
	State         string // such as "established", "close-wait"
	RTT           time.Duration
	RTTVariance   time.Duration
	Retransmits   int64 // segments, in all
	SendWindow    int64 // bytes that the client is willing to take
	ReceiveWindow int64 // bytes that we are willing to take
	Unacked       int64 // segments that the client has not acknowledged
	Received      int64 // bytes
	Sent          int64 // bytes, that the client has acknowledged
}

// tcpStates are the names of a connection's states (ss(8)), by their number.
var tcpStates = [...]string{
	"unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "closed",
	"close-wait", "last-ack", "listening", "closing", "new-syn-recv",
}

// GetTCPInfo returns that of the connection fd, if the kernel tells it.
func GetTCPInfo(fd uintptr) (TCPInfo, bool) {
	k, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return TCPInfo{}, false
	}
	return TCPInfo{
		State:         stateName(k.State),
		RTT:           time.Duration(k.Rtt) * time.Microsecond,
		RTTVariance:   time.Duration(k.Rttvar) * time.Microsecond,
		Retransmits:   int64(k.Total_retrans),
		SendWindow:    int64(k.Snd_wnd),
		ReceiveWindow: int64(cmp.Or(k.Rcv_wnd, k.Rcv_space)), // older kernels tell only the latter
		Unacked:       int64(k.Unacked),
		Received:      int64(k.Bytes_received),
		Sent:          int64(k.Bytes_acked),
	}, true
}

func stateName(n uint8) string {
	if int(n) < len(tcpStates) {
		return tcpStates[n]
	}
	return tcpStates[0]
}
