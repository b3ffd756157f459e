package state

import "fmt"

const tlsMagic = 0x0a5854_4d50534c54 // "TLSPMTX\n"

// TLS is the file with the state of connections whose TLS the kernel does: what it does not tell of
// them. It is a file of its own, as slots have no room for that and versions before 0.3 do not know
// it. Their secrets are in it, so nobody but this service may have it. An entry that was never
// taken needs no memory. The methods may be called from any goroutine.
type TLS struct {
	table[tlsEntry, *tlsEntry]
}

// NewTLS makes a file with the given number of entries.
func NewTLS(entries int) (*TLS, error) {
	t := new(TLS)
	if err := t.create("tcpmux-tls", tlsMagic, entries); err != nil {
		return nil, err
	}
	return t, nil
}

// OpenTLS takes over the file of another process, and closes it after an error. From now on the TLS
// owns the descriptor. Find returns the entries that the process left, and Forget frees the others.
func OpenTLS(fd int) (*TLS, error) {
	t := new(TLS)
	if err := t.open(fd, tlsMagic); err != nil {
		return nil, fmt.Errorf("state of TLS connections: %w", err)
	}
	return t, nil
}

// Take returns an entry for a connection; nil if no entry is free.
func (t *TLS) Take(cookie uint64) *TLSEntry {
	if t == nil {
		return nil
	}
	i, ok := t.take(cookie)
	if !ok {
		return nil
	}
	return &TLSEntry{t, t.at(i), i}
}

// Find returns the entry that another process left for a connection, once; nil if there is no such
// entry.
func (t *TLS) Find(cookie uint64) *TLSEntry {
	if t == nil {
		return nil
	}
	i, ok := t.find(cookie)
	if !ok {
		return nil
	}
	e := &TLSEntry{t, t.at(i), i}
	e.settle()
	return e
}

// Forget frees the entries that Find has not returned: their connections no longer exist.
func (t *TLS) Forget() {
	if t != nil {
		t.forget()
	}
}

// Close closes the file. It survives while another process has it. No entry may be used afterwards.
func (t *TLS) Close() error {
	if t == nil {
		return nil
	}
	return t.close()
}
