package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"tcpmux/config/document"
	"tcpmux/config/notation"
)

// kind is a type of value with its range.
type kind[T any] struct {
	// allowed is the type and range in words that can follow "want": "a whole number from 1 to
	// 10".
	allowed string
	// read returns what a decoded TOML value stands for. Where it stands for nothing, read
	// reports the error at its place and returns false.
	read func(v any, at place) (T, bool)
	// write returns the value as it is written in a file.
	write func(T) string
}

// number takes a whole number.
func number(least, most int) kind[int] {
	return wholeNumber(fmt.Sprintf("a whole number from %d to %d", least, most), least, most)
}

// limit takes a whole number, where 0 has a meaning of its own, such as "for no limit".
func limit(most int, zero string) kind[int] {
	return wholeNumber(fmt.Sprintf("a whole number from 1 to %d, or 0 %s", most, zero), 0, most)
}

func wholeNumber(allowed string, least, most int) kind[int] {
	read := func(v any, at place) (int, bool) {
		n, ok := v.(int64)
		if !ok || n < int64(least) || n > int64(most) {
			return 0, at.Want(v, allowed+unquoted(v))
		}
		return int(n), true
	}
	return kind[int]{allowed, read, strconv.Itoa}
}

func boolean() kind[bool] {
	const allowed = "true or false"
	read := func(v any, at place) (bool, bool) {
		b, ok := v.(bool)
		return b, ok || at.Want(v, allowed+unquoted(v))
	}
	return kind[bool]{allowed, read, strconv.FormatBool}
}

// onData is the word of EventsOnData.
const onData = "on-data"

// events takes a boolean or a word.
func events() kind[Events] {
	allowed := fmt.Sprintf("true, false or %q", onData)
	read := func(v any, at place) (Events, bool) {
		switch v {
		case true:
			return AllEvents, true
		case false:
			return NoEvents, true
		case onData:
			return EventsOnData, true
		}
		if v == "true" || v == "false" {
			return NoEvents, at.Want(v, allowed+unquoted(v))
		}
		return NoEvents, at.Want(v, allowed)
	}
	write := func(e Events) string {
		if e == EventsOnData {
			return document.QuoteTOML(onData)
		}
		return strconv.FormatBool(e == AllEvents)
	}
	return kind[Events]{allowed, read, write}
}

// unquoted reminds the author of a string that numbers and booleans have no quotes.
func unquoted(v any) string {
	if _, ok := v.(string); ok {
		return ", without quotes"
	}
	return ""
}

// word takes one of a few strings.
func word(words ...string) kind[string] {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	allowed := choice(quoted)
	read := func(v any, at place) (string, bool) {
		s, _ := v.(string)
		return s, slices.Contains(words, s) || at.Want(v, allowed)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// wordOr takes one of a few strings, or the empty one.
func wordOr(empty string, words ...string) kind[string] {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	allowed := orZero(strings.Join(quoted, ", "), `""`, empty)
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		return s, ok && (s == "" || slices.Contains(words, s)) || at.Want(v, allowed)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// choice returns "a or b", "a, b or c".
func choice[T any](of []T) string {
	texts := make([]string, len(of))
	for i, v := range of {
		texts[i] = fmt.Sprint(v)
	}
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}

// orZero adds the meaning of a zero value to what is allowed, if it has one of its own.
func orZero(allowed, zero, meaning string) string {
	if meaning == "" {
		return allowed
	}
	return fmt.Sprintf("%s, or %s %s", allowed, zero, meaning)
}

// size takes a number of bytes. With a meaning for zero, such as "for no limit", it takes "0B" too.
func size(least, most int64, zero string) kind[int64] {
	allowed := orZero(fmt.Sprintf("a size from %s to %s", notation.FormatSize(least), notation.FormatSize(most)), `"0B"`, zero)
	const form = `; units are B, KiB, MiB, GiB and TiB, as in "64KiB"`
	read := func(v any, at place) (int64, bool) {
		s, _ := v.(string)
		n, ok, fits := notation.ParseSize(s)
		switch {
		case !ok:
			return 0, at.Want(v, allowed+form+didYouMean(notation.MeantSize(s)))
		case !fits || n > most || n < least && (n != 0 || zero == ""):
			return 0, at.Want(v, allowed)
		}
		return n, true
	}
	return kind[int64]{allowed, read, func(n int64) string { return document.QuoteTOML(notation.FormatSize(n)) }}
}

// didYouMean asks whether a value was meant, if there is one.
func didYouMean(value string) string {
	if value == "" {
		return ""
	}
	return ": did you mean " + strconv.Quote(value) + "?"
}

// Linux allows 4096 bytes for a path and 255 for a name. Rotation adds a suffix to both.
const (
	maxPath = 4000
	maxName = 200
)

// filePath takes the path of a file. With a meaning for "" it takes that too.
func filePath(empty string) kind[string] {
	allowed := orZero("the path of a file", `""`, empty)
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		switch {
		case !ok || s == "" && empty == "":
			return "", at.Want(v, allowed+" in quotes")
		case s == Stdout:
			return "", at.Want(v, allowed+": only file in [record] may be standard output")
		case strings.ContainsFunc(s, unicode.IsControl):
			return "", at.Want(v, "a path without control characters")
		case isDirectory(s):
			return "", at.Want(v, "the path of a file, not of a directory")
		case len(s) > maxPath || len(filepath.Base(s)) > maxName:
			return "", at.Want(v, fmt.Sprintf("a path of at most %d bytes, with a name of at most %d", maxPath, maxName))
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// recordPath takes the path of a file, or Stdout.
func recordPath() kind[string] {
	k := filePath("")
	allowed := fmt.Sprintf("%s, or %q for standard output", k.allowed, Stdout)
	read := func(v any, at place) (string, bool) {
		switch v {
		case Stdout:
			return Stdout, true
		case "":
			return "", at.Want(v, allowed)
		}
		return k.read(v, at)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

func isDirectory(s string) bool {
	base := s[strings.LastIndexByte(s, '/')+1:]
	return s != "" && (base == "" || base == "." || base == "..")
}
