"""Small least squares problems whose unknowns have bounds: inlined, without allocation."""

from libc.math cimport fmax, fmin, sqrt

cdef enum:
    MAX_UNKNOWNS = 8
    MAX_PIVOTS = 64
    ALL_AT_ONCE = 3  # turns without progress in which all that is wrong changes sides


cdef inline bint factorise(double *h, int n) noexcept nogil:
    """Put the Cholesky factor of h (n, n) in its lower half; return whether there is one."""
    cdef int i, j, k
    cdef double total
    for i in range(n):
        for j in range(i + 1):
            total = h[i * n + j]
            for k in range(j):
                total -= h[i * n + k] * h[j * n + k]
            if i == j:
                if not total > 0.0:
                    return False
                h[i * n + i] = sqrt(total)
            else:
                h[i * n + j] = total / h[j * n + j]
    return True


cdef inline void substitute(const double *factor, double *g, int n) noexcept nogil:
    """Solve h x = g in place of g (n,) with the factor of h."""
    cdef int i, k
    for i in range(n):
        for k in range(i):
            g[i] -= factor[i * n + k] * g[k]
        g[i] /= factor[i * n + i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            g[i] -= factor[k * n + i] * g[k]
        g[i] /= factor[i * n + i]


cdef inline void solve_between(
    double *h, double *g, double *least, double *most, double *x, int n
) noexcept nogil:
    """x (n,) = what minimises x h x / 2 - g x between two bounds; h (n, n) is positive definite.

    Block principal pivoting (Judice and Pires, 1994): unknowns are free or at a bound; those that
    are on the wrong side change it, all at once as long as they get fewer, and otherwise the last
    one alone, which ends for every positive definite problem.
    """
    cdef double part[MAX_UNKNOWNS * MAX_UNKNOWNS]
    cdef double right[MAX_UNKNOWNS]
    cdef double pull, slack = 1e-14  # rounding of a value at its bound, and of a multiplier
    cdef int side[MAX_UNKNOWNS]  # 0 free, -1 at the least, 1 at the most
    cdef int wish[MAX_UNKNOWNS]
    cdef int free[MAX_UNKNOWNS]
    cdef int i, j, pivot, count, wrong, last = 0, fewest = n + 1, patience = ALL_AT_ONCE
    for i in range(n):
        side[i] = 0
    for pivot in range(MAX_PIVOTS):
        count = 0
        for i in range(n):
            if side[i] == 0:
                free[count] = i
                count += 1
            else:
                x[i] = least[i] if side[i] < 0 else most[i]
        for i in range(count):
            right[i] = g[free[i]]
            for j in range(n):
                if side[j] != 0:
                    right[i] -= h[free[i] * n + j] * x[j]
            for j in range(count):
                part[i * count + j] = h[free[i] * n + free[j]]
        if not factorise(part, count):
            for i in range(n):
                x[i] = 0.0
            break
        substitute(part, right, count)
        for i in range(count):
            x[free[i]] = right[i]
        wrong = 0
        for i in range(n):
            wish[i] = side[i]
            if side[i] == 0:
                if x[i] < least[i] - slack:
                    wish[i] = -1
                elif x[i] > most[i] + slack:
                    wish[i] = 1
            else:
                pull = g[i]
                for j in range(n):
                    pull -= h[i * n + j] * x[j]
                if side[i] * pull < -slack:
                    wish[i] = 0
            if wish[i] != side[i]:
                wrong += 1
                last = i
        if wrong == 0:
            break
        if wrong < fewest:
            fewest, patience = wrong, ALL_AT_ONCE
        else:
            patience -= 1
        for i in range(n):
            if patience > 0 or i == last:
                side[i] = wish[i]
    for i in range(n):  # rounding alone, where it was solved
        x[i] = fmin(most[i], fmax(least[i], x[i]))
