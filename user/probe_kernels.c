/* SPDX-License-Identifier: MIT */
/*
 * The kernels whose sockmap is known to be wrong, in one table. Distributions keep the number of
 * the release that they started from in uname's release; the version that they have really got is
 * elsewhere.
 */
#include "probe.h"

#include <string.h>

struct kernel {
	unsigned int major, minor, patch;
};

/* From the first version (inclusive) to the one that has the fix (exclusive). */
static const struct {
	struct kernel first, fixed;
	const char *why;
} known_bad[] = {
	{ { 0, 0, 0 },
	  { 5, 13, 0 },
	  "sk_skb verdicts without a parser came with 5.13 (a7ba4558e69a, sockmap: introduce "
	  "BPF_SK_SKB_VERDICT)" },
#define DOUBLED                                                                                    \
	"it sends a partly sent segment again from its start (3b4f14b79428, bpf, sockmap: fix "    \
	"duplicated data transmission)"
	{ { 5, 15, 0 }, { 5, 15, 186 }, DOUBLED " before 5.15.186" },
	{ { 6, 1, 0 }, { 6, 1, 142 }, DOUBLED " before 6.1.142" },
	{ { 6, 4, 0 }, { 6, 6, 94 }, DOUBLED " before 6.6.94" },
	{ { 6, 7, 0 }, { 6, 12, 34 }, DOUBLED " before 6.12.34" },
	{ { 6, 13, 0 }, { 6, 15, 3 }, DOUBLED " before 6.15.3" },
};

static unsigned long long order(const struct kernel *k)
{
	return ((unsigned long long)k->major << 40) + ((unsigned long long)k->minor << 20) +
	       k->patch;
}

static bool parse(const char *text, struct kernel *k)
{
	*k = (struct kernel){ 0 };
	return text && sscanf(text, "%u.%u.%u", &k->major, &k->minor, &k->patch) >= 2;
}

/* "#1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)"; "Ubuntu 5.15.0-25.25-generic 5.15.30". */
static bool parse_real(const char *release, const char *version, const char *signature,
		       struct kernel *k)
{
	static const char debian[] = "Debian ";
	const char *in_version = strstr(version, debian);
	const char *in_signature = *signature ? strrchr(signature, ' ') : NULL;

	return parse(in_signature ? in_signature + 1 : NULL, k) ||
	       parse(in_version ? in_version + strlen(debian) : NULL, k) || parse(release, k);
}

const char *probe_known_bad(const char *release, const char *version, const char *signature)
{
	struct kernel k;

	if (!parse_real(release, version, signature, &k))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(known_bad); i++)
		if (order(&k) >= order(&known_bad[i].first) &&
		    order(&k) < order(&known_bad[i].fixed))
			return known_bad[i].why;
	return NULL;
}
