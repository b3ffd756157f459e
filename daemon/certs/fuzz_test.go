package certs

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"tcpmux/internal/fuzzing"
)

// FuzzFiles holds that no text of any of the files makes a set panic, and that what is said of it
// is printable lines.
func FuzzFiles(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			tf.Fatal(err)
		}
		return string(text)
	}
	cert, key, cas, crl := read("cert.pem"), read("key.pem"), read("clients.pem"), read("crl.pem")
	der, _ := pem.Decode([]byte(crl))
	f.Add(cert, key, cas, crl)
	f.Add(cert, key, cas, string(der.Bytes))
	f.Add(key, cert, cas, crl)
	f.Add("", encode("ENCRYPTED PRIVATE KEY", nil), encode("CERTIFICATE", nil), encode("X509 CRL", nil))
	f.Fuzz(func(t *testing.T, cert, key, cas, crl string) {
		l := &loaded{at: time.Now(), paths: paths{"cert", "key", "cas", "crl"}}
		chain, fault := parseCertificates([]byte(cert))
		printable(t, fault)
		signer, fault := parseKey([]byte(key))
		printable(t, fault)
		if len(chain) > 0 && signer != nil {
			l.chain = chain
			if err := l.checkLeaf(); err != nil {
				printable(t, err.Error())
			}
			if !belongs(chain[0], signer) {
				printable(t, l.mismatch(signer).Error())
			}
			l.checkChain()
		}
		l.cas, fault = parseCertificates([]byte(cas))
		printable(t, fault)
		l.checkAuthorities()
		lists, fault := parseLists([]byte(crl))
		printable(t, fault)
		if fault == "" {
			printable(t, l.addLists(lists))
		}
		if len(l.cas) > 0 {
			_ = l.verifyPeer(nil, [][]*x509.Certificate{l.cas})
		}
		for _, text := range l.problemsAt(time.Now()) {
			printable(t, text)
		}
	})
}

func printable(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 4000 {
		t.Errorf("got %q, want a short printable line", text)
	}
}
