package consumer_test

import (
	"crypto/sha1" // Redis names scripts by their SHA-1
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	luajson "github.com/alicebob/miniredis/v2/gopher-json"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// memoryRedis is as much of Redis as the guard uses, in memory and by the clock of the test: hashes that expire, and Lua scripts. It runs the
// guard's own scripts; TestMemoryRedisAnswersAsRedisDoes holds it against a real one.
type memoryRedis struct {
	now     func() time.Time
	ahead   time.Duration // of now: what its clock shows beyond that
	hashes  map[string]map[string]string
	expires map[string]time.Time // by its own clock
	scripts map[string]bool      // by SHA-1, loaded since the start
	server  atomic.Int64         // which one it is
	past    []memory             // where remember is set, what was there before each script
	keep    bool
}

// memory is one hash as it was before a script changed it.
type memory struct {
	at      time.Time
	key     string
	hash    map[string]string
	expires time.Time
}

func newMemoryRedis(now func() time.Time) *memoryRedis {
	return &memoryRedis{now: now, hashes: map[string]map[string]string{}, expires: map[string]time.Time{}, scripts: map[string]bool{}}
}

// replyError is an error that Redis answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks it as Redis' own word.
func (e replyError) RedisError() {}

// do carries out a command as go-redis hands it over.
func (r *memoryRedis) do(arguments []any) (any, error) {
	args := make([]string, len(arguments))
	for i, a := range arguments {
		args[i] = fmt.Sprint(a)
	}
	switch strings.ToLower(args[0]) {
	case "evalsha":
		if !r.scripts[args[1]] {
			return nil, replyError("NOSCRIPT No matching script. Please use EVAL.")
		}
		return r.eval(args[1], "", args[2:])
	case "eval":
		sum := sha1.Sum([]byte(args[1]))
		sha := hex.EncodeToString(sum[:])
		r.scripts[sha] = true
		return r.eval(sha, args[1], args[2:])
	case "info":
		return fmt.Sprintf("# Replication\r\nrole:master\r\nmaster_replid:%d\r\n", r.server.Load()), nil
	case "script": // LOAD
		sum := sha1.Sum([]byte(args[2]))
		sha := hex.EncodeToString(sum[:])
		r.scripts[sha] = true
		_, _, err := interpreters.take(sha, args[2])
		return sha, err
	default:
		return nil, replyError("ERR unknown command '" + args[0] + "'")
	}
}

func (r *memoryRedis) eval(sha, text string, args []string) (any, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	keys := args[1 : 1+n]
	if r.keep {
		for _, key := range keys {
			r.past = append(r.past, memory{r.now(), key, maps.Clone(r.hash(key)), r.expires[key]})
		}
	}
	return interpreters.run(r, sha, text, keys, args[1+n:])
}

// lose puts another server in its place, which has nothing of what was written since a moment.
func (r *memoryRedis) lose(since time.Time) {
	r.server.Add(1)
	for len(r.past) > 0 && !r.past[len(r.past)-1].at.Before(since) {
		m := r.past[len(r.past)-1]
		r.past = r.past[:len(r.past)-1]
		delete(r.hashes, m.key)
		delete(r.expires, m.key)
		if m.hash != nil {
			r.hashes[m.key] = m.hash
		}
		if !m.expires.IsZero() {
			r.expires[m.key] = m.expires
		}
	}
	clear(r.scripts)
}

func (r *memoryRedis) clock() time.Time { return r.now().Add(r.ahead) }

func (r *memoryRedis) hash(key string) map[string]string {
	if at, set := r.expires[key]; set && !r.clock().Before(at) {
		delete(r.hashes, key)
		delete(r.expires, key)
	}
	return r.hashes[key]
}

// call is redis.call.
func (r *memoryRedis) call(l *lua.LState) int {
	switch l.CheckString(1) {
	case "TIME":
		now := r.clock()
		t := l.NewTable()
		t.Append(lua.LString(strconv.FormatInt(now.Unix(), 10)))
		t.Append(lua.LString(strconv.Itoa(now.Nanosecond() / 1000)))
		l.Push(t)
	case "HGET":
		value, found := r.hash(l.CheckString(2))[l.CheckString(3)]
		l.Push(lua.LFalse)
		if found {
			l.Pop(1)
			l.Push(lua.LString(value))
		}
	case "HMGET":
		t := l.NewTable()
		for i := 3; i <= l.GetTop(); i++ {
			if value, found := r.hash(l.CheckString(2))[l.CheckString(i)]; found {
				t.Append(lua.LString(value))
			} else {
				t.RawSetInt(i-2, lua.LFalse)
			}
		}
		l.Push(t)
	case "HGETALL":
		t := l.NewTable()
		for field, value := range r.hash(l.CheckString(2)) {
			t.Append(lua.LString(field))
			t.Append(lua.LString(value))
		}
		l.Push(t)
	case "HEXISTS":
		_, found := r.hash(l.CheckString(2))[l.CheckString(3)]
		l.Push(lua.LNumber(map[bool]int{true: 1}[found]))
	case "HSET":
		key := l.CheckString(2)
		if r.hash(key) == nil {
			r.hashes[key] = map[string]string{}
		}
		for i := 3; i < l.GetTop(); i += 2 {
			r.hashes[key][l.CheckString(i)] = l.CheckString(i + 1)
		}
		l.Push(lua.LNumber(1))
	case "HDEL":
		key := l.CheckString(2)
		for i := 3; i <= l.GetTop(); i++ {
			delete(r.hash(key), l.CheckString(i))
		}
		if len(r.hashes[key]) == 0 {
			delete(r.hashes, key)
			delete(r.expires, key)
		}
		l.Push(lua.LNumber(1))
	case "PERSIST":
		delete(r.expires, l.CheckString(2))
		l.Push(lua.LNumber(1))
	case "PEXPIRE":
		ms, err := strconv.ParseInt(l.CheckString(3), 10, 64)
		if err != nil {
			l.RaiseError("ERR value is not an integer or out of range")
		}
		r.expires[l.CheckString(2)] = r.clock().Add(time.Duration(ms) * time.Millisecond)
		l.Push(lua.LNumber(1))
	default:
		l.RaiseError("the model's Redis has no %s", l.CheckString(1))
	}
	return 1
}

// interpreters are Lua states to be used again, with the scripts that have been compiled.
var interpreters = &luaPool{protos: map[string]*lua.FunctionProto{}}

type luaPool struct {
	mu     sync.Mutex
	free   []*lua.LState
	protos map[string]*lua.FunctionProto
}

func (p *luaPool) run(r *memoryRedis, sha, text string, keys, args []string) (any, error) {
	l, proto, err := p.take(sha, text)
	if err != nil {
		return nil, replyError("ERR Error compiling script: " + err.Error())
	}
	defer p.give(l)
	commands := l.NewTable()
	commands.RawSetString("call", l.NewFunction(r.call))
	l.SetGlobal("redis", commands)
	l.SetGlobal("KEYS", list(l, keys))
	l.SetGlobal("ARGV", list(l, args))
	if err := l.CallByParam(lua.P{Fn: l.NewFunctionFromProto(proto), NRet: 1, Protect: true}); err != nil {
		return nil, replyError("ERR " + err.Error())
	}
	table, ok := l.Get(-1).(*lua.LTable)
	l.SetTop(0)
	if !ok {
		return nil, replyError("ERR the script answered no list")
	}
	answer := make([]any, table.Len())
	for i := range answer {
		switch v := table.RawGetInt(i + 1).(type) {
		case lua.LString:
			answer[i] = string(v)
		default:
			return nil, replyError(fmt.Sprintf("ERR the script answered %s, a %s", v, v.Type()))
		}
	}
	return answer, nil
}

func (p *luaPool) take(sha, text string) (*lua.LState, *lua.FunctionProto, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.protos[sha] == nil {
		chunk, err := parse.Parse(strings.NewReader(text), sha)
		if err != nil {
			return nil, nil, err
		}
		if p.protos[sha], err = lua.Compile(chunk, sha); err != nil {
			return nil, nil, err
		}
	}
	if n := len(p.free); n > 0 {
		l := p.free[n-1]
		p.free = p.free[:n-1]
		return l, p.protos[sha], nil
	}
	l := lua.NewState()
	luajson.Preload(l)
	if err := l.DoString(`cjson = require("json")`); err != nil {
		return nil, nil, err
	}
	return l, p.protos[sha], nil
}

func (p *luaPool) give(l *lua.LState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, l)
}

func list(l *lua.LState, values []string) *lua.LTable {
	t := l.NewTable()
	for v := range slices.Values(values) {
		t.Append(lua.LString(v))
	}
	return t
}
