/*
 * programs/cpp_exceptions: a C++ program that throws through many frames, in many threads and out of signal handlers' neighbourhood.
 *
 * Catches: unwinding tables that are not readable, thread-local storage for exceptions that is shared, locks of the runtime that hang after fork.
 *
 * Timeout: 60s
 */
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#define __auto_type auto
#include "contract.h" /* last: its macros have names of the library */

struct Counted {
	static std::atomic<int> alive;
	Counted() { alive++; }
	Counted(const Counted &) { alive++; }
	~Counted() { alive--; }
};
std::atomic<int> Counted::alive;

static int deep(int n)
{
	Counted c;
	if (n == 0)
		throw std::runtime_error("from the bottom");
	return deep(n - 1) + 1;
}

static int caught_in(int depth)
{
	try {
		return deep(depth);
	} catch (const std::runtime_error &e) {
		return std::string(e.what()).size();
	}
}

struct Nested : std::runtime_error {
	using std::runtime_error::runtime_error;
};

static std::string chain()
{
	try {
		try {
			throw std::out_of_range("inner");
		} catch (...) {
			std::throw_with_nested(Nested("outer"));
		}
	} catch (const Nested &e) {
		std::string s = e.what();
		try {
			std::rethrow_if_nested(e);
		} catch (const std::exception &inner) {
			s += std::string(", ") + inner.what();
		}
		return s;
	}
	return "nothing";
}

static thread_local int own = 5;

int main()
{
	observe("caught: %d, objects left: %d", caught_in(200), Counted::alive.load());
	observe("nested: %s", chain().c_str());

	std::vector<std::thread> crowd;
	std::atomic<int> total{0}, wrong{0};
	for (int i = 0; i < 8; i++)
		crowd.emplace_back([&, i] {
			own += i;
			for (int k = 0; k < 50; k++) {
				total += caught_in(k % 20);
				try {
					std::vector<int> v(3);
					v.at(3 + k) = 1;
					wrong++;
				} catch (const std::out_of_range &) {
				}
			}
			if (own != 5 + i)
				wrong++;
		});
	for (auto &t : crowd)
		t.join();
	observe("in threads: %d, wrong: %d, objects left: %d", total.load(), wrong.load(), Counted::alive.load());

	auto f = std::async(std::launch::async, []() -> int { throw std::logic_error("across threads"); });
	try {
		f.get();
	} catch (const std::logic_error &e) {
		observe("a future: %s", e.what());
	}

	std::mutex m;
	std::condition_variable cv;
	std::map<int, std::string> done;
	int turn = 0;
	crowd.clear();
	for (int i = 0; i < 4; i++)
		crowd.emplace_back([&, i] {
			for (int k = 0; k < 25; k++) {
				std::unique_lock<std::mutex> l(m);
				cv.wait(l, [&] { return turn % 4 == i; });
				std::ostringstream s;
				s << turn << ":" << i;
				done[turn++] = s.str();
				cv.notify_all();
			}
		});
	for (auto &t : crowd)
		t.join();
	observe("turns: %zu, last %s", done.size(), done[99].c_str());

	std::shared_mutex rw;
	long value = 0, seen = 0;
	std::atomic<long> reads{0};
	crowd.clear();
	for (int i = 0; i < 6; i++)
		crowd.emplace_back([&, i] {
			for (int k = 0; k < 200; k++) {
				if (i < 2) {
					std::unique_lock<std::shared_mutex> l(rw);
					value++;
					seen++;
				} else {
					std::shared_lock<std::shared_mutex> l(rw);
					if (value != seen)
						wrong++;
					reads++;
				}
			}
		});
	for (auto &t : crowd)
		t.join();
	observe("writers: %ld, readers: %ld, torn: %d", value, reads.load(), wrong.load());

	std::vector<int> numbers(20000);
	std::iota(numbers.begin(), numbers.end(), 1);
	std::reverse(numbers.begin(), numbers.end());
	std::stable_sort(numbers.begin(), numbers.end(), [](int a, int b) { return a % 1000 < b % 1000; });
	observe("sorted: %d %d %d", numbers[0], numbers[10000], numbers[19999]);

	pid_t p = must(fork());
	if (p == 0)
		_exit(caught_in(10) == 15 ? 3 : 4);
	observe("in a child: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		close(2);
		throw std::runtime_error("nobody catches");
	}
	observe("uncaught: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		try {
			std::unique_ptr<char[]> huge(new char[1ul << 46]);
			_exit(huge[5] + 1);
		} catch (const std::bad_alloc &) {
			_exit(7);
		}
	}
	observe("too much memory: %s", reap(p));
	return contract_end();
}
