"""What a path of setpoints, and the stops from it, ask of every joint: one pass without the GIL."""

from libc.math cimport INFINITY, fabs, fmax, fmin

from dvla.bindings.follower cimport Follower
from dvla.bindings.frames cimport Frame
from dvla.bindings.kinematics cimport MAX_JOINTS
from dvla.bindings.pacing cimport Pace
from dvla.bindings.rotations cimport norm3, rotate_by, rotation_between
from dvla.bindings.stopping cimport stop_s

from dvla.bindings.kinematics import FACTS

__all__ = ["FACTS", "REPORT", "Chain"]

cdef enum:
    REPORT_SIZE = 17
    REST_TURNS = 6  # in which the elbow comes to within 2 % of its way

REPORT = REPORT_SIZE  # of judge, see there


cdef inline void worst_of(
    const double *change, const double *bound, int n, double *ratio_out, double *joint_out
) noexcept nogil:
    """Keep the largest share of its bound that a joint's change takes, and whose it is."""
    cdef int i
    for i in range(n):
        # Written so that NaN counts as the worst.
        if not fabs(change[i]) / bound[i] <= ratio_out[0]:
            ratio_out[0] = fabs(change[i]) / bound[i]
            joint_out[0] = i


cdef inline void worst_facts(const double *facts, double *report) noexcept nogil:
    cdef int k
    for k in range(5):
        if k < 2 and not facts[k] <= report[k]:
            report[k] = facts[k]
        elif k >= 2 and not facts[k] >= report[k]:
            report[k] = facts[k]


cdef inline void clear(double *report) noexcept nogil:
    report[0] = report[1] = 0.0
    report[2] = report[3] = report[4] = INFINITY


cdef inline void stop_pose(
    const double *pose, const double *velocity, const double *acceleration,
    const double *durations, double elapsed, double *out,
) noexcept nogil:
    """out (8,) = where a stop from a pose is after a while; see ``dvla.runtime.stopping``."""
    cdef double turn[3]
    cdef double s, c1, c2, d
    cdef int part, k
    for k in range(8):
        out[k] = pose[k]
    for part in range(2):
        d = durations[part]
        s = fmin(elapsed / fmax(d, 1e-9), 1.0)
        c1 = d * (s - s * s * s + 0.5 * s * s * s * s)
        c2 = d * d * (0.5 * s * s - 2.0 / 3.0 * s * s * s + 0.25 * s * s * s * s)
        for k in range(3):
            turn[k] = velocity[3 * part + k] * c1 + acceleration[3 * part + k] * c2
            if part == 0:
                out[k] += turn[k]
    rotate_by(turn, &pose[3], &out[3])


cdef class Chain(Follower):
    """The kinematics of one serial arm, and what a path asks of its joints."""

    cdef void _stop(
        self, const double *before, const double *here, const double *after, const double *q,
        Pace *pace, double period_s, const double *bounds, const double *envelope,
        const double *shares, int count, double *report,
    ) noexcept nogil:
        """Judge the stop from a row between two others, where joints are at q (n,) and a pace.

        ``report`` (5,) keeps the worst.
        """
        cdef Frame frames[MAX_JOINTS + 2]
        cdef double velocity[6]
        cdef double acceleration[6]
        cdef double turn[3]
        cdef double next_turn[3]
        cdef double durations[2]
        cdef double pose[8]
        cdef double at[MAX_JOINTS]
        cdef double speeds[MAX_JOINTS]
        cdef double facts[5]
        cdef double longest, chord_s, past
        cdef int i, k, n = self.joints
        rotation_between(&before[3], &here[3], turn)
        rotation_between(&here[3], &after[3], next_turn)
        for k in range(3):
            velocity[k] = (after[k] - before[k]) / (2.0 * period_s)
            acceleration[k] = (after[k] - 2.0 * here[k] + before[k]) / (period_s * period_s)
            velocity[3 + k] = (turn[k] + next_turn[k]) / (2.0 * period_s)
            acceleration[3 + k] = (next_turn[k] - turn[k]) / (period_s * period_s)
        for k in range(2):
            durations[k] = stop_s(
                norm3(&velocity[3 * k]), norm3(&acceleration[3 * k]),
                envelope[2 + k] * (1.0 if k == 0 else 0.85), envelope[4 + k],
            )
        longest = fmax(durations[0], durations[1])
        if longest < period_s:
            return  # at rest already
        for i in range(n):
            at[i], speeds[i] = q[i], bounds[i]
        self._forward(at, frames)
        self._miss(frames, here, pace.owed)
        past = 0.0
        for k in range(count):
            stop_pose(here, velocity, acceleration, durations, shares[k] * longest, pose)
            chord_s, past = (shares[k] - past) * longest, shares[k]
            self._go(at, frames, pose, 1, chord_s, speeds, pace)
            self._facts(frames, pose, facts)
            worst_facts(facts, report)
        # At rest the elbow goes on to its posture: there the arm stays.
        self._go(at, frames, pose, REST_TURNS, INFINITY, speeds, NULL)
        self._facts(frames, pose, facts)
        worst_facts(facts, report)

    def judge(
        self, const double[:, ::1] kept_q, const double[:, ::1] kept, const double[:, ::1] rows,
        double period_s, const double[:, ::1] bounds, const double[:, ::1] envelope,
        const double[::1] shares, int stops, double[:, ::1] q_out, double[::1] report_out,
    ):
        """Follow rows that come after knots; write the joints, and the worst of each kind."""
        cdef Frame frames[MAX_JOINTS + 2]
        cdef double at[MAX_JOINTS]
        cdef double speeds[MAX_JOINTS]
        cdef Pace pace
        cdef double d[3][2][MAX_JOINTS]
        cdef double facts[5]
        cdef double *report
        cdef const double *before
        cdef const double *here
        cdef const double *q_before
        cdef const double *q_earlier
        cdef Py_ssize_t row, m = rows.shape[0], old = kept_q.shape[0], place
        cdef int i, order, index, n = self.joints
        if old < 3 or kept_q.shape[1] != n or kept.shape[0] != old or kept.shape[1] != 8:
            raise ValueError(f"judge: expected kept_q (>= 3, {n}) and as many kept (8)")
        if m < 1 or rows.shape[1] != 8 or q_out.shape[0] < m or q_out.shape[1] != n:
            raise ValueError(f"judge: expected rows (m, 8) and q_out (m, {n})")
        if bounds.shape[0] != 3 or bounds.shape[1] != n or envelope.shape[0] != 3:
            raise ValueError(f"judge: expected bounds (3, {n}) and envelope (3, 2)")
        if envelope.shape[1] != 2 or report_out.shape[0] != REPORT_SIZE or shares.shape[0] < 1:
            raise ValueError(f"judge: expected envelope (3, 2), shares, and report_out ({REPORT_SIZE},)")
        with nogil:
            report = &report_out[0]
            clear(report)
            clear(&report[11])
            for order in range(3):
                report[5 + 2 * order] = report[6 + 2 * order] = 0.0
            for i in range(n):
                at[i] = kept_q[old - 1, i]
                speeds[i] = bounds[0, i]
                d[0][0][i] = (kept_q[old - 1, i] - kept_q[old - 2, i]) / period_s
                d[0][1][i] = (kept_q[old - 2, i] - kept_q[old - 3, i]) / period_s
                d[1][0][i] = (d[0][0][i] - d[0][1][i]) / period_s
                pace.velocity[i], pace.acceleration[i] = d[0][0][i], d[1][0][i]
            self._forward(at, frames)
            self._miss(frames, &kept[old - 1, 0], pace.owed)
            report[16] = self._manipulability(frames)
            for row in range(m):
                self._go(at, frames, &rows[row, 0], 1, period_s, speeds, &pace)
                self._facts(frames, &rows[row, 0], facts)
                worst_facts(facts, report)
                for i in range(n):
                    # Differences: [0] of the row before, [1] of this one.
                    d[0][1][i] = (at[i] - (q_out[row - 1, i] if row else kept_q[old - 1, i]))
                    d[0][1][i] /= period_s
                    d[1][1][i] = (d[0][1][i] - d[0][0][i]) / period_s
                    d[2][1][i] = (d[1][1][i] - d[1][0][i]) / period_s
                    d[0][0][i], d[1][0][i] = d[0][1][i], d[1][1][i]
                    q_out[row, i] = at[i]
                for order in range(3):
                    worst_of(
                        d[order][1], &bounds[order, 0], n,
                        &report[5 + 2 * order], &report[6 + 2 * order],
                    )
            for index in range(stops if m >= 2 else 0):
                place = index * (m - 2) // (stops - 1) if stops > 1 else m - 2
                here = &rows[place, 0]
                before = &rows[place - 1, 0] if place else &kept[old - 1, 0]
                q_before, q_earlier = &kept_q[old - 1, 0], &kept_q[old - 2, 0]
                if place >= 1:
                    q_before, q_earlier = &q_out[place - 1, 0], &kept_q[old - 1, 0]
                if place >= 2:
                    q_earlier = &q_out[place - 2, 0]
                for i in range(n):
                    pace.velocity[i] = (q_out[place, i] - q_before[i]) / period_s
                    pace.acceleration[i] = (q_before[i] - q_earlier[i]) / period_s
                    pace.acceleration[i] = (pace.velocity[i] - pace.acceleration[i]) / period_s
                self._stop(
                    before, here, &rows[place + 1, 0], &q_out[place, 0], &pace, period_s,
                    &bounds[0, 0], &envelope[0, 0], &shares[0], shares.shape[0], &report[11],
                )
