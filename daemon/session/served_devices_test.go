package session_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/servertest"
)

// devices are what such a device sends, and its messages, by the recipe in contrib/devices.
var devices = map[string]struct {
	stream string
	want   []string
	acks   string
}{
	"scanner":      {"4006381333931\r5901234123457\r", []string{"4006381333931", "5901234123457"}, ""},
	"any-line-end": {"one\r\ntwo\nthree\rfour\r\n\r\n", []string{"one", "two", "three", "four", ""}, ""},
	"stx-etx": {
		"\x021H|\\^&|||H550^1|||||||P|E1394-97|20261128\r\x03A7\r\n\x022P|1||12345\r\x030C\r\n\x023L|1|N\r\x0306\r\n",
		[]string{"1H|\\^&|||H550^1|||||||P|E1394-97|20261128\r", "2P|1||12345\r", "3L|1|N\r"}, "\x06\x06\x06",
	},
	"mllp": {
		"\x0bMSH|^~\\&|LAB|A|HIS|B|202611281200||ORU^R01|1|P|2.3\rPID|1||77\r\x1c\r\x0bMSH|^~\\&|LAB|A|HIS|B|202611281201||ORU^R01|2|P|2.3\r\x1c\r",
		[]string{"MSH|^~\\&|LAB|A|HIS|B|202611281200||ORU^R01|1|P|2.3\rPID|1||77\r", "MSH|^~\\&|LAB|A|HIS|B|202611281201||ORU^R01|2|P|2.3\r"}, "",
	},
	"tracker-parentheses": {
		"(013612345678BP05355889501234567)(013612345678BR00261128A2934.0133N10627.2544E000.0040331309.6200000000L00000000)\r\n(013612345678BP00HSO)",
		[]string{"013612345678BP05355889501234567", "013612345678BR00261128A2934.0133N10627.2544E000.0040331309.6200000000L00000000", "013612345678BP00HSO"}, "",
	},
	"tracker-semicolon": {
		"##,imei:359710045559474,A;359710045559474;imei:359710045559474,tracker,261128080103,,F,000101.000,A,5443.3834,N,02512.9071,E,0.00,0;",
		[]string{"##,imei:359710045559474,A", "359710045559474", "imei:359710045559474,tracker,261128080103,,F,000101.000,A,5443.3834,N,02512.9071,E,0.00,0"}, "",
	},
	"tracker-header": { // login, heartbeat
		bytesOf("7878 0d 01 0123456789012345 0001 8cdd 0d0a 7878 0a 13 4004030001 000f dcee 0d0a"),
		[]string{bytesOf("01 0123456789012345 0001 8cdd 0d0a"), bytesOf("13 4004030001 000f dcee 0d0a")}, "",
	},
	// The program does not answer a location, nor a heartbeat whose CRC is wrong.
	"tracker-login": {
		bytesOf("7878 0d 01 0123456789012345 0001 8cdd 0d0a 7878 0a 13 4004030001 000f ec32 0d0a 7878 0a 13 4004030001 000f dcee 0d0a 7878 05 12 0010 b225 0d0a"),
		[]string{
			bytesOf("01 0123456789012345 0001 8cdd 0d0a"), bytesOf("13 4004030001 000f ec32 0d0a"),
			bytesOf("13 4004030001 000f dcee 0d0a"), bytesOf("12 0010 b225 0d0a"),
		},
		bytesOf("7878 05 01 0001 d9dc 0d0a 7878 05 13 000f 008f 0d0a"),
	},
	"tracker-preamble": { // codec 8, one record with one I/O element each
		bytesOf("00000000 00000036 08 01 0000016b40d8ea30 01 000000000000000000000000000000 01 05 02 15 03 01 01 01 42 5e 0f 01 f1 00 00 60 1a 01 4e 00 00 00 00 00 00 00 00 01 0000c7cf") +
			bytesOf("00000000 00000003 08 00 00 0000abcd"),
		[]string{bytesOf("08 01 0000016b40d8ea30 01 000000000000000000000000000000 01 05 02 15 03 01 01 01 42 5e 0f 01 f1 00 00 60 1a 01 4e 00 00 00 00 00 00 00 00 01 0000c7cf"), bytesOf("08 00 00 0000abcd")}, "",
	},
	"nmea": {
		"545.4,M,46.9,M,,*47\r\n$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n$GPRMC,123520,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1,W*6A\n",
		[]string{"GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47", "GPRMC,123520,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1,W*6A"}, "",
	},
	"fixed":   {"METER01 00042.5\nMETER02 00017.0\n", []string{"METER01 00042.5\n", "METER02 00017.0\n"}, ""},
	"silence": {"\x01\x03\x04\x00\x2a\x00\x07\xab\xcd", []string{"\x01\x03\x04\x00\x2a\x00\x07\xab\xcd"}, ""},
}

// bytesOf returns the bytes that are written in hexadecimal digits.
func bytesOf(digits string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestRecipesOfDevices: each listener in contrib/devices cuts the stream of such a device into its
// messages, in whatever segments it comes, and json records give back all of its bytes.
func TestRecipesOfDevices(t *testing.T) {
	files, err := filepath.Glob("../../contrib/devices/*.toml")
	if err != nil || len(files) != len(devices) {
		t.Fatalf("got recipes %q, %v, want %d", files, err, len(devices))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			device, known := devices[name]
			if !known {
				t.Fatal("no stream of such a device is known")
			}
			c, err := config.Load(inSource(t, file))
			if err != nil || len(c.Warnings) > 0 || len(c.Listeners) != 2 || c.Listeners[1].Name != name {
				t.Fatalf("got %v, warnings %q and listeners %+v, want one of this name", err, c.Warnings, c.Listeners)
			}
			f := servertest.NewWithFile(t, func(cfg *config.Config) {
				recipe := c.Listeners[1]
				recipe.Name, recipe.Address = cfg.Listeners[0].Name, cfg.Listeners[0].Address
				cfg.Listeners[0], cfg.Record.Format = recipe, "json"
			}).Open()
			for _, segment := range []int{len(device.stream), 1, 7} {
				// A pause between them would be an end.
				if name == "silence" && segment < len(device.stream) {
					continue
				}
				conversation(t, f, device.stream, segment, device.acks)
			}
			f.Finish()
			for remote, got := range messagesOf(t, readRecords(t, f.Path)) {
				if !slices.Equal(got.data, device.want) {
					t.Errorf("%s: got %q, want %q", remote, got.data, device.want)
				}
				if got.stream != device.stream {
					t.Errorf("%s: got %q back, want %q", remote, got.stream, device.stream)
				}
			}
		})
	}
}

// inSource returns the recipe with the program that is next to it, instead of the installed one.
func inSource(t *testing.T, recipe string) string {
	t.Helper()
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Dir(recipe))
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(t.TempDir(), filepath.Base(recipe))
	text = bytes.ReplaceAll(text, []byte("/usr/share/tcpmux/devices"), []byte(dir))
	if err := os.WriteFile(here, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return here
}

// conversation is what a device says, and what it wants to hear.
func conversation(t *testing.T, f *servertest.Fixture, stream string, segment int, acks string) {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for piece := range slices.Chunk([]byte(stream), segment) {
		if _, err := conn.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != acks || err != nil {
		t.Errorf("heard %q, %v, want %q", got, err, acks)
	}
}

// said is what the records say of one client.
type said struct {
	data   []string
	stream string
}

func messagesOf(t *testing.T, text string) map[string]said {
	t.Helper()
	all, parser := map[string]said{}, record.NewParser(record.JSON)
	for line := range strings.Lines(text) {
		r, err := parser.Parse([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Kind != record.KindMessage {
			continue
		}
		s := all[r.Remote]
		if s.stream += string(r.Raw); r.Flag != record.Between {
			s.data = append(s.data, string(r.Data()))
		}
		all[r.Remote] = s
	}
	return all
}

// TestTheManualHasTheRecipes, key by key.
func TestTheManualHasTheRecipes(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/tcpmux.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n.SH DEVICES\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	section = strings.NewReplacer(`\(dq`, `"`, `\e`, `\`, `\-`, "-").Replace(section)
	for name := range devices {
		text, err := os.ReadFile(filepath.Join("../../contrib/devices", name+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		_, keys, _ := strings.Cut(string(text), `banner = ""`+"\n")
		if !strings.Contains(section, "\n"+keys) {
			t.Errorf("%s: got no such lines in the section DEVICES:\n%s", name, keys)
		}
	}
}
