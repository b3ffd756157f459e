package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
)

// Ends returns, for each session that has a message among about the last tail bytes of the JSON records at path, where in its stream
// that message ended, or the last of several. What a file lacks that has just been rotated is looked for in the newest backup, if
// that is not compressed yet. Lines that are no records are passed over.
func Ends(path string, tail int64) (map[string]int64, error) {
	ends := make(map[string]int64)
	read, err := readEnds(ends, path, tail)
	if err != nil || read >= tail {
		return ends, err
	}
	backups, err := Backups(path)
	if err != nil || len(backups) == 0 {
		return ends, err
	}
	newest := backups[len(backups)-1]
	if newest.Packed {
		return ends, nil
	}
	_, err = readEnds(ends, newest.Path(), tail-read)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it was compressed meanwhile
	}
	return ends, err
}

// readEnds adds what the last tail bytes of one file say of sessions that are not in ends, and returns how many bytes there were.
func readEnds(ends map[string]int64, path string, tail int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n := min(info.Size(), tail)
	text := make([]byte, n)
	if _, err := f.ReadAt(text, info.Size()-n); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for len(text) > 0 {
		text = bytes.TrimSuffix(text, []byte("\n"))
		line := text[bytes.LastIndexByte(text, '\n')+1:]
		text = text[:len(text)-len(line)]
		addEnd(ends, line)
	}
	return n, nil
}

// addEnd adds where the message of a line ended, if it is one and of a session that is not in ends. The line is taken apart only then:
// most are of sessions that have said more since.
func addEnd(ends map[string]int64, line []byte) {
	const key = `"session":"`
	_, from, ok := bytes.Cut(line, []byte(key))
	name, _, closed := bytes.Cut(from, []byte(`"`))
	if _, known := ends[string(name)]; !ok || !closed || known || !bytes.Contains(line, []byte(`"kind":"message"`)) {
		return
	}
	var r struct {
		Kind, Session string
		Offset        int64
		Head          *string
		Data          *string
		End           *string
		HeadBytes     []byte `json:"head_base64"`
		DataBytes     []byte `json:"data_base64"`
		EndBytes      []byte `json:"end_base64"`
	}
	if json.Unmarshal(line, &r) != nil || r.Kind != "message" {
		return
	}
	end := r.Offset + int64(len(r.HeadBytes)+len(r.DataBytes)+len(r.EndBytes))
	for _, s := range []*string{r.Head, r.Data, r.End} {
		if s != nil {
			end += int64(len(*s))
		}
	}
	ends[r.Session] = end
}
