package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// buckets is the number of hash slots the entities are spread over. Each has its own epoch; one Lua script touches one bucket only.
const buckets = 16

// entityKey gives the bucket and the name of an entity's hash. Each part goes into the digest with its length in front, so that no two
// merchants' names run into each other, and no order id or regKey stands in Redis in the clear.
func entityKey(e Entity) (bucket int, key string) {
	digest := sha256.New()
	for _, part := range []string{e.Host, e.ChannelID, e.Kind, e.ID} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		digest.Write(length[:])
		digest.Write([]byte(part))
	}
	sum := digest.Sum(nil)
	bucket = int(sum[0]) % buckets
	return bucket, fmt.Sprintf("{linepay:%02x}:%s:%s", bucket, e.Kind, hex.EncodeToString(sum))
}

// merchant names whose entity it is.
func (e Entity) merchant() string {
	_, key := entityKey(Entity{Host: e.Host, ChannelID: e.ChannelID})
	return key[len(key)-16:]
}

// epochKey names a bucket's epoch, in the slot of the bucket's entities.
func epochKey(bucket int) string {
	return fmt.Sprintf("{linepay:%02x}:epoch", bucket)
}

// OperationKey names an operation: OperationKey("confirm", id) is "confirm:<id>". Bytes outside A-Z a-z 0-9 . _ ~ - are written %XX in each
// part, so that no part can contain the separator.
func OperationKey(operation string, parts ...string) string {
	var b strings.Builder
	escape(&b, operation)
	for _, part := range parts {
		b.WriteByte(':')
		escape(&b, part)
	}
	return b.String()
}

func escape(b *strings.Builder, part string) {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"
	for i := range len(part) {
		if c := part[i]; strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(b, "%%%02X", c)
		}
	}
}

// RefundKey names a refund: "refund:<id>:<refundId>", or "refund:<id>:full" for the full refund, which has no refundId. A refund whose
// refundId is the word full is "refund:<id>:%66ull".
func RefundKey(transactionID, refundID string) string {
	switch refundID {
	case "":
		return OperationKey("refund", transactionID, "full")
	case "full":
		return OperationKey("refund", transactionID) + ":%66ull"
	default:
		return OperationKey("refund", transactionID, refundID)
	}
}

// HashedKey names an operation on a secret, such as a regKey: "<operation>:" and the first 32 hex digits of the secret's SHA-256.
func HashedKey(operation, secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return OperationKey(operation, hex.EncodeToString(sum[:16]))
}
