package record

import "bytes"

// tlsParser parses what records tell of a client's TLS. What its methods return is valid until the
// next call; its strings stay valid.
type tlsParser struct {
	all    TLS // of an opening or a closing
	device TLS // of a message: the subject alone
	name   []byte
}

// object parses the member of an opening or a closing in JSON. It returns nil if there is none.
func (p *tlsParser) object(in *cursor) *TLS {
	if !in.has(`,"tls":{"version":"`) {
		return nil
	}
	intern(&p.all.Version, in.printable('"'))
	in.want(`"`)
	var cipher []byte
	if in.has(`,"cipher":"`) {
		cipher = in.printable('"')
		in.want(`"`)
	}
	intern(&p.all.Cipher, cipher)
	p.member(in, "sni", &p.all.ServerName, MaxServerName)
	p.member(in, "subject", &p.all.Subject, MaxSubject)
	in.want(`}`)
	return &p.all
}

// subject parses the member of a message in JSON. It returns nil if there is none.
func (p *tlsParser) subject(in *cursor) *TLS {
	if !in.begins(`,"subject`) { // which costs less than to ask for both forms of it
		return nil
	}
	if p.member(in, "subject", &p.device.Subject, MaxSubject); p.device.Subject == "" {
		return nil
	}
	return &p.device
}

// member parses the JSON member of that name into s, which is "" without one.
func (p *tlsParser) member(in *cursor, name string, s *string, most int) {
	p.name = in.bytes(p.name[:0], name)
	p.set(in, name, s, most)
}

func (p *tlsParser) set(in *cursor, name string, s *string, most int) {
	if len(p.name) > most {
		in.refuse("%s has %d bytes, want at most %d", name, len(p.name), most)
	}
	intern(s, p.name)
}

// text parses the end of an opening or a closing in text. It returns nil if there is none.
func (p *tlsParser) text(in *cursor) *TLS {
	if !in.has(" tls=") {
		return nil
	}
	intern(&p.all.Version, in.printable(' '))
	var cipher []byte
	if in.has(" cipher=") {
		cipher = in.printable(' ')
	}
	intern(&p.all.Cipher, cipher)
	p.quoted(in, ` sni="`, &p.all.ServerName, MaxServerName)
	p.quoted(in, ` subject="`, &p.all.Subject, MaxSubject)
	return &p.all
}

// quoted parses a name in quotes into s, which is "" if the line does not continue with before.
func (p *tlsParser) quoted(in *cursor, before string, s *string, most int) {
	if p.name = p.name[:0]; in.has(before) {
		p.name = in.quotedText(p.name)
	}
	p.set(in, before[1:len(before)-2], s, most)
}

// skipTLS skips what tlsParser.object parses.
func (c *cursor) skipTLS() {
	if !c.has(`,"tls":{"version":"`) {
		return
	}
	c.name()
	if c.has(`,"cipher":"`) {
		c.name()
	}
	c.skip(`,"sni":"`, `,"sni_base64":"`)
	c.skipSubject()
	c.want(`}`)
}

// skipSubject skips what tlsParser.subject parses.
func (c *cursor) skipSubject() { c.skip(`,"subject":"`, `,"subject_base64":"`) }

// skip skips a JSON member that begins in one of two ways, and whose value cursor.bytes would parse.
// A control character is no value.
func (c *cursor) skip(plain, base64 string) {
	if !c.has(plain) && !c.has(base64) {
		return
	}
	rest := c.line[c.at:]
	n := bytes.IndexByte(rest, '"')
	if n >= 0 && bytes.IndexByte(rest[:n], '\\') >= 0 {
		n = endOfString(rest)
	}
	if n < 0 || uncontrolled(rest[:n]) < n {
		c.fail("a name in quotes")
		return
	}
	c.at += n + 1
}

// endOfString returns where in b, which begins behind a quote, the JSON string ends; -1 if nowhere.
func endOfString(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}
