package tlsconn

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
)

// suite is what a cipher suite of TLS 1.3 means to the kernel.
type suite struct {
	hash   func() hash.Hash
	secret int    // bytes of a traffic secret
	kernel uint16 // include/uapi/linux/tls.h: TLS_CIPHER_*
	key    int    // bytes of a key
	salt   int    // bytes of the IV that the kernel calls the salt
}

// suites are those that the kernel knows too.
var suites = map[uint16]suite{
	tls.TLS_AES_128_GCM_SHA256:       {sha256.New, 32, 51, 16, 4},
	tls.TLS_AES_256_GCM_SHA384:       {sha512.New384, 48, 52, 32, 4},
	tls.TLS_CHACHA20_POLY1305_SHA256: {sha256.New, 32, 54, 32, 0},
}

const (
	ivSize  = 12
	seqSize = 8
)

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, with an empty context.
func (s *suite) expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	return hkdf.Expand(s.hash, secret, string(append(info, 0)), n)
}

// cryptoInfo returns what setsockopt(2) wants for a traffic secret that nothing was encrypted with
// yet (include/uapi/linux/tls.h, struct tls12_crypto_info_*).
func (s *suite) cryptoInfo(secret []byte) ([]byte, error) {
	if len(secret) != s.secret {
		return nil, fmt.Errorf("a traffic secret has %d bytes, want %d", len(secret), s.secret)
	}
	key, err := s.expandLabel(secret, "key", s.key)
	if err != nil {
		return nil, err
	}
	iv, err := s.expandLabel(secret, "iv", ivSize)
	if err != nil {
		return nil, err
	}
	b := binary.NativeEndian.AppendUint16(nil, tls.VersionTLS13)
	b = binary.NativeEndian.AppendUint16(b, s.kernel)
	b = append(b, iv[s.salt:]...)
	b = append(b, key...)
	b = append(b, iv[:s.salt]...)
	return append(b, make([]byte, seqSize)...), nil
}

// next returns the traffic secret after a KeyUpdate (RFC 8446, section 7.2).
func (s *suite) next(secret []byte) ([]byte, error) {
	return s.expandLabel(secret, "traffic upd", s.secret)
}

// keyLog takes the secrets of a handshake, in the form of crypto/tls's KeyLogWriter.
type keyLog struct{ client, server []byte }

// Write implements io.Writer. A call has one line.
func (k *keyLog) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return len(line), nil
	}
	var to *[]byte
	switch string(fields[0]) {
	case "CLIENT_TRAFFIC_SECRET_0":
		to = &k.client
	case "SERVER_TRAFFIC_SECRET_0":
		to = &k.server
	default:
		return len(line), nil
	}
	secret, err := hex.AppendDecode(nil, fields[2])
	if err == nil {
		*to = secret
	}
	return len(line), err
}
