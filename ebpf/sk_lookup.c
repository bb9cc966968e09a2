// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// Gives connections and datagrams for claimed addresses and ports to a few sockets that are bound elsewhere.
//
// The kernel runs this for every packet that finds no connected socket, before it looks for a listening one. We answer
// three things: this worker's socket; nobody (SK_DROP: the client is refused); or as if we were not there (SK_PASS).
//
//	address -> set of ports, and what to do with ports that are not in it   (longest prefix wins)
//	set, protocol, port -> steer, or leave to others                        (longest prefix wins: ranges are prefixes)
//	hash of the connection -> worker
//
// planes/bpf fills the maps; names, sizes and values here and in its src/kernel.rs belong together.

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FAMILY_IPV4 2

// Sockets of one protocol and family.
#define WORKERS_MAX 64

// Prefixes and single addresses of one family. Memory is taken as they come.
#define ADDRESSES_MAX 65536

// A range of ports takes at most 30 prefixes, all ports take one.
#define PORTS_MAX 1048576

// Ports that a client may get at.
enum verdict {
	LEAVE = 0,  // to whoever listens there
	REFUSE = 1, // even if somebody listens on all addresses of this machine
	STEER = 2,
};

// The four kinds of sockets: index in worker_counts, and times WORKERS_MAX the first index in the map workers.
enum kind {
	TCP_IPV4 = 0,
	TCP_IPV6 = 1,
	UDP_IPV4 = 2,
	UDP_IPV6 = 3,
};

// What became of packets, as indices of the map counts.
enum count {
	STEERED_TCP = 0, // one a connection
	STEERED_UDP = 1, // one a datagram, until the flow has a socket of its own
	REFUSED = 2,	 // no port of ours at an address that is ours alone
	NO_WORKER = 3,	 // claimed, and none of our sockets could take it
	COUNTS = 4,
};

struct address4 {
	__u32 length;
	__u8 address[4];
};

struct address6 {
	__u32 length;
	__u32 address[4];
};

// What an address has.
struct entry {
	__u32 set;
	__u32 otherwise; // verdict on ports that are not in the set
};

// Network byte order below the length, as bits are compared from the left.
struct port {
	__u32 length;
	__u32 set;
	__be16 protocol;
	__be16 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, struct address4);
	__type(value, struct entry);
} addresses4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ADDRESSES_MAX);
	__type(key, struct address6);
	__type(value, struct entry);
} addresses6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PORTS_MAX);
	__type(key, struct port);
	__type(value, __u32);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4 * WORKERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} workers SEC(".maps");

// Sockets of each kind. Not a constant array: without CAP_PERFMON the verifier forbids an index into it that it does not
// know.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} worker_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

// Set before the program is loaded, so that nobody can choose ports that all end on one worker.
const volatile __u32 seed = 0;

static __always_inline void count(__u32 what)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &what);
	if (value)
		*value += 1;
}

// One step of MurmurHash3 (public domain): each word of a connection reaches all bits.
static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = word << 15 | word >> 17;
	hash ^= word * 0x1b873593;
	hash = hash << 13 | hash >> 19;
	return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 finish(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

// All datagrams of a flow go to one worker, also before it has a socket for the flow.
static __always_inline int steer_to_worker(struct bpf_sk_lookup *ctx, __u32 kind, __u32 hash)
{
	__u32 *workers_here = bpf_map_lookup_elem(&worker_counts, &kind);
	if (!workers_here || *workers_here == 0)
		return SK_DROP;
	hash = finish(mix(hash, (__u32)ctx->remote_port << 16 ^ ctx->local_port));
	// The next one takes what a worker that is gone would have got.
	for (__u32 step = 0; step < WORKERS_MAX; step++) {
		if (step >= *workers_here)
			break;
		__u32 index = kind * WORKERS_MAX + (hash + step) % *workers_here;
		struct bpf_sock *socket = bpf_map_lookup_elem(&workers, &index);
		if (!socket)
			continue;
		// A program that was attached earlier, such as our own before an upgrade, may have chosen already.
		long failed = bpf_sk_assign(ctx, socket, BPF_SK_LOOKUP_F_REPLACE | BPF_SK_LOOKUP_F_NO_REUSEPORT);
		bpf_sk_release(socket);
		if (!failed)
			return SK_PASS;
	}
	return SK_DROP;
}

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx)
{
	struct entry *entry;
	__u32 kind = ctx->protocol == IPPROTO_UDP ? UDP_IPV4 : TCP_IPV4;
	__u32 hash = seed;

	if (ctx->family == FAMILY_IPV4) {
		struct address4 address = { .length = 32 };
		__u32 local = ctx->local_ip4;
		__builtin_memcpy(address.address, &local, sizeof(local));
		entry = bpf_map_lookup_elem(&addresses4, &address);
		hash = mix(mix(hash, ctx->remote_ip4), local);
	} else {
		struct address6 address = { .length = 128 };
		address.address[0] = ctx->local_ip6[0];
		address.address[1] = ctx->local_ip6[1];
		address.address[2] = ctx->local_ip6[2];
		address.address[3] = ctx->local_ip6[3];
		entry = bpf_map_lookup_elem(&addresses6, &address);
		hash = mix(mix(hash, ctx->remote_ip6[0]), ctx->remote_ip6[1]);
		hash = mix(mix(hash, ctx->remote_ip6[2]), ctx->remote_ip6[3]);
		hash = mix(hash, address.address[2] ^ address.address[3]);
		kind += 1;
	}
	// Almost all packets of a machine that does other things too.
	if (!entry)
		return SK_PASS;

	struct port port = {
		.length = 64,
		.set = entry->set,
		.protocol = bpf_htons(ctx->protocol),
		.port = bpf_htons(ctx->local_port),
	};
	__u32 *found = bpf_map_lookup_elem(&ports, &port);
	__u32 verdict = found ? *found : entry->otherwise;
	if (verdict == LEAVE)
		return SK_PASS;
	if (verdict == REFUSE) {
		count(REFUSED);
		return SK_DROP;
	}
	int answer = steer_to_worker(ctx, kind, hash);
	if (answer == SK_DROP)
		count(NO_WORKER);
	else
		count(ctx->protocol == IPPROTO_UDP ? STEERED_UDP : STEERED_TCP);
	return answer;
}

// Needed by no helper that is called here; the programs of this folder have one licence.
char LICENSE[] SEC("license") = "Dual MIT/GPL";
