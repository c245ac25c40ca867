package idempotency

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Fingerprint digests the data of a command, so that two commands that mean the same thing agree: SHA-256, in hex, over the canonical JSON
// (RFC 8785) without the named top-level members.
//
// The data is a JSON object in which ids and amounts are strings already, amounts in one spelling. Duplicate names are refused, and so are
// numbers that are no integers within ±2^53: canonical JSON rounds them, and two amounts could look like one.
func Fingerprint(data []byte, leaveOut ...string) (string, error) {
	if err := exactNumbers(data); err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(data, &members); err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	if members == nil {
		return "", errors.New("fingerprint: the data is null: it must be a JSON object")
	}
	for _, name := range leaveOut {
		delete(members, name)
	}
	text, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	canonical := jsontext.Value(text)
	if err := canonical.Canonicalize(); err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

func exactNumbers(data []byte) error {
	const most = 1 << 53
	decoder := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if token.Kind() != '0' {
			continue
		}
		n, err := strconv.ParseInt(token.String(), 10, 64)
		if err != nil || n < -most || n > most {
			return fmt.Errorf("the number at %s is not an integer within 2^53: write it as a string", decoder.StackPointer())
		}
	}
}
