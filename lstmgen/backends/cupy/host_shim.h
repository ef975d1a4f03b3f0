// Runs CUDA kernels on the host. This file is put before the kernels' source; `LSTMGEN_REAL` is float or double.
//
// The 256 threads of a block are fibers, on stacks that are kept for all kernels. A fiber runs one thread after
// another until a thread comes to a barrier; then another fiber takes over. So a kernel without barriers is a plain
// loop on one fiber. Threads are taken in a random order, anew after every barrier, and so are blocks: a kernel whose
// result depends on an order that nothing guarantees gives different results for different seeds.
//
// Shared variables lie in a section of their own, which is filled with NaNs when a block begins. It needs a system with
// mmap and ELF. The switch of fibers is written for x86-64; other processors take the slower one of the C library.

#include <math.h>
#include <sys/mman.h>
#include <utility>

#if !defined(__x86_64__) && !defined(LSTMGEN_UCONTEXT)
#define LSTMGEN_UCONTEXT
#endif

#ifdef LSTMGEN_UCONTEXT
#include <ucontext.h>
#else
// Saves the registers that a function must preserve on the stack at `*save`'s place, and takes up those at `load`.
extern "C" __attribute__((visibility("hidden"))) void lstmgen_switch(void **save, void *load);
asm(R"(
    .pushsection .text
    .globl lstmgen_switch
    .hidden lstmgen_switch
    .type lstmgen_switch, @function
lstmgen_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size lstmgen_switch, .-lstmgen_switch
    .popsection
)");
#endif

extern "C" __attribute__((weak, visibility("hidden"))) char __start_lstmgen_shared[], __stop_lstmgen_shared[];

namespace {
namespace lstmgen_host {

// ---- Fibers

constexpr long stack_bytes = 256 << 10;
constexpr long stack_guard = 64 << 10;  // at the lower end, so that a stack that is too small is a fault of memory

#ifdef LSTMGEN_UCONTEXT
using Context = ucontext_t;

void prepare(Context &context, char *stack, long size, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = size;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

void change(Context &from, Context &to) { swapcontext(&from, &to); }
#else
using Context = void *;

void prepare(Context &context, char *stack, long size, void (*entry)()) {
  // Six registers and where to return to; when a function begins, the stack pointer is 8 off a multiple of 16.
  void **top = reinterpret_cast<void **>(stack + size) - 8;
  for (int each = 0; each < 8; ++each) top[each] = nullptr;
  top[6] = reinterpret_cast<void *>(entry);
  context = top;
}

void change(Context &from, Context &to) { lstmgen_switch(&from, to); }
#endif

// ---- Random orders

unsigned long long random_state;

unsigned random_below(unsigned bound) {  // splitmix64
  unsigned long long z = random_state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<unsigned>(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

template <typename T> void shuffle(T *items, unsigned count) {
  for (unsigned last = count; last > 1; --last) std::swap(items[last - 1], items[random_below(last)]);
}

// ---- A launch

constexpr int block_threads = 256;

struct Index {
  unsigned x, y, z;
};
Index thread_index{0, 0, 0}, block_index{0, 0, 0}, block_dim{block_threads, 1, 1}, grid_dim{1, 1, 1};

struct Fiber {
  Context context;
  char *stack;
  unsigned thread;  // which waits at the barrier in this line
  int line;
};

struct Entry {
  const char *signature;  // for each argument r: const real *, w: real *, i: long long
  void (*call)(const long long *arguments);
};

// What went wrong: threads of `block` wait at a barrier in `line`, others in `other_line` or, where it is 0, nowhere.
struct Fault {
  long long block, waiting, line, other_line;
};

Context scheduler;
Fiber fibers[block_threads];
Fiber *current, *idle[block_threads], *waiting[block_threads];
int made, idle_count, waiting_count;
char *stacks;  // of all fibers, one after the other; the process's, which its libraries use in turn
unsigned order[block_threads];  // in which the threads of a block begin
int begun;
const Entry *kernel;
const long long *kernel_arguments;

void fiber_main() {
  for (;;) {
    while (begun < block_threads) {
      thread_index.x = order[begun++];
      kernel->call(kernel_arguments);
    }
    idle[idle_count++] = current;
    change(current->context, scheduler);
  }
}

void barrier(int line) {
  Fiber *self = current;
  self->thread = thread_index.x;
  self->line = line;
  waiting[waiting_count++] = self;
  change(self->context, scheduler);
  thread_index.x = self->thread;
}

void begin(Fiber &fiber) {
  // Stacks that begin at equal offsets would share a few lines of the processor's cache.
  long unused = (&fiber - fibers) % 64 * 320;
  prepare(fiber.context, fiber.stack, stack_bytes - stack_guard - unused, fiber_main);
}

void resume(Fiber *fiber) {
  current = fiber;
  change(scheduler, fiber->context);
}

Fiber *idle_fiber() {
  if (idle_count) return idle[--idle_count];
  Fiber *fiber = &fibers[made];
  fiber->stack = stacks + made * stack_bytes + stack_guard;
  begin(*fiber);
  ++made;
  return fiber;
}

// Each stack and its guard are mappings of their own, of which a process has some ten thousands: a library has none.
char *make_stacks() {
  void *all = mmap(nullptr, block_threads * stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  for (int each = 0; each < block_threads; ++each)
    mprotect(static_cast<char *>(all) + each * stack_bytes, stack_guard, PROT_NONE);
  return static_cast<char *>(all);
}

// Threads that wait are given up, and all fibers begin anew.
void abandon() {
  waiting_count = idle_count = 0;
  for (int each = 0; each < made; ++each) {
    begin(fibers[each]);
    idle[idle_count++] = &fibers[each];
  }
}

constexpr int done = 0, divergent = 1, no_memory = 2;

int run_block(unsigned block, Fault &fault) {
  block_index.x = block;
  if (__start_lstmgen_shared)
    __builtin_memset(__start_lstmgen_shared, 0xff, __stop_lstmgen_shared - __start_lstmgen_shared);
  for (int each = 0; each < block_threads; ++each) order[each] = each;
  shuffle(order, block_threads);
  begun = 0;
  while (begun < block_threads) {
    resume(idle_fiber());
  }
  while (waiting_count) {
    int line = waiting[0]->line, other_line = line;
    for (int each = 0; each < waiting_count; ++each)
      if (waiting[each]->line != line) other_line = waiting[each]->line;
    if (waiting_count < block_threads || other_line != line) {
      fault = {block, waiting_count, line, waiting_count < block_threads ? 0 : other_line};
      return abandon(), divergent;
    }
    Fiber *released[block_threads];
    for (int each = 0; each < block_threads; ++each) released[each] = waiting[each];
    waiting_count = 0;
    shuffle(released, block_threads);
    for (Fiber *fiber : released) resume(fiber);
  }
  return done;
}

int launch(const Entry &entry, unsigned blocks, unsigned long long seed, const long long *arguments, Fault &fault) {
  if (!stacks) return no_memory;
  made = idle_count = waiting_count = 0;  // another library may have used the stacks since
  kernel = &entry;
  kernel_arguments = arguments;
  grid_dim.x = blocks;
  random_state = seed;
  unsigned *block_order = new unsigned[blocks];
  for (unsigned each = 0; each < blocks; ++each) block_order[each] = each;
  shuffle(block_order, blocks);
  int status = done;
  for (unsigned each = 0; each < blocks && status == done; ++each) status = run_block(block_order[each], fault);
  delete[] block_order;
  return status;
}

// ---- Kernels by their types: no text of a signature is parsed

template <typename T> constexpr char code = 0;
template <> constexpr char code<const LSTMGEN_REAL *> = 'r';
template <> constexpr char code<LSTMGEN_REAL *> = 'w';
template <> constexpr char code<long long> = 'i';

template <typename T> T argument(long long value) {
  if constexpr (code<T> == 'i')
    return value;
  else
    return reinterpret_cast<T>(value);
}

template <auto function> struct Kernel;

template <typename... T, void (*function)(T...)> struct Kernel<function> {
  static_assert(((code<T> != 0) && ...), "a kernel takes real *, const real * and long long");
  static constexpr char signature[] = {code<T>..., 0};

  template <std::size_t... place> static void apply(const long long *arguments, std::index_sequence<place...>) {
    function(argument<T>(arguments[place])...);
  }

  static void call(const long long *arguments) { apply(arguments, std::index_sequence_for<T...>()); }
};

template <auto function> constexpr Entry entry{Kernel<function>::signature, Kernel<function>::call};

}  // namespace lstmgen_host
}  // namespace

// What the host calls. `...` are entries, in the order in which it numbers kernels.
#define LSTMGEN_KERNELS(...)                                                                                           \
  static const ::lstmgen_host::Entry lstmgen_kernels[] = {__VA_ARGS__};                                                \
  extern "C" __attribute__((visibility("default"))) const char *lstmgen_signature(int kernel) {                        \
    return lstmgen_kernels[kernel].signature;                                                                          \
  }                                                                                                                    \
  extern "C" __attribute__((visibility("default"))) char *lstmgen_make_stacks() {                                      \
    return ::lstmgen_host::make_stacks();                                                                              \
  }                                                                                                                    \
  extern "C" __attribute__((visibility("default"))) void lstmgen_use_stacks(char *stacks) {                            \
    ::lstmgen_host::stacks = stacks;                                                                                   \
  }                                                                                                                    \
  extern "C" __attribute__((visibility("default"))) int lstmgen_launch(int kernel, unsigned blocks,                    \
                                                                       unsigned long long seed,                        \
                                                                       const long long *arguments,                     \
                                                                       ::lstmgen_host::Fault *fault) {                 \
    return ::lstmgen_host::launch(lstmgen_kernels[kernel], blocks, seed, arguments, *fault);                           \
  }

// ---- CUDA C++

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("lstmgen_shared")))
#define __syncthreads() ::lstmgen_host::barrier(__LINE__)
#define real LSTMGEN_REAL

namespace {
const ::lstmgen_host::Index &threadIdx = ::lstmgen_host::thread_index;
const ::lstmgen_host::Index &blockIdx = ::lstmgen_host::block_index;
const ::lstmgen_host::Index &blockDim = ::lstmgen_host::block_dim;
const ::lstmgen_host::Index &gridDim = ::lstmgen_host::grid_dim;
}  // namespace
