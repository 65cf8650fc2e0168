"""The kinematics of one serial arm: where its links are, how well it can move, what it comes near."""

from libc.math cimport INFINITY, cos, fmin, sin, sqrt

from dvla.bindings.frames cimport (
    Frame,
    compose,
    place,
    quaternion_of,
    segment_distance,
)
from dvla.bindings.rotations cimport cross3, dot3, norm3, rotation_between

FACTS = 5  # per setpoint: miss [m], miss [rad], manipulability, clearance of links, of planes [m]


cdef class Kinematics:
    """The kinematics of one serial arm, and the distances of its links."""

    def __init__(
        self, const double[:, ::1] rows, const double[:, ::1] tool,
        const double[:, ::1] capsules, const long[:, ::1] pairs, const double[:, ::1] planes,
    ):
        cdef int i, j, n = rows.shape[0]
        if not 1 <= n <= MAX_JOINTS or rows.shape[1] != 4:
            raise ValueError(f"rows: got {n}, expected 1 to {MAX_JOINTS} of a, alpha, d, theta")
        if tool.shape[0] != 4 or tool.shape[1] != 4:
            raise ValueError("tool: expected (4, 4)")
        if capsules.shape[0] > MAX_CAPSULES or capsules.shape[1] != 8:
            raise ValueError(f"capsules: expected at most {MAX_CAPSULES} of 8 numbers")
        if pairs.shape[0] > MAX_PAIRS or pairs.shape[1] != 2:
            raise ValueError(f"pairs: expected at most {MAX_PAIRS} of 2 capsules")
        if planes.shape[0] > MAX_PLANES or planes.shape[1] != 4:
            raise ValueError(f"planes: expected at most {MAX_PLANES} of 4 numbers")
        self.joints = n
        for i in range(n):
            for j in range(4):
                self._dh[i][j] = rows[i, j]
            self._dh[i][4], self._dh[i][5] = cos(rows[i, 1]), sin(rows[i, 1])
        for i in range(3):
            for j in range(3):
                self._tool.r[3 * i + j] = tool[i, j]
            self._tool.p[i] = tool[i, 3]
        self._capsule_count = capsules.shape[0]
        for i in range(self._capsule_count):
            self._capsules[i].link = <int>capsules[i, 0]
            if not 0 <= self._capsules[i].link <= n:
                raise ValueError(f"capsule {i} is on link {capsules[i, 0]}, expected 0 to {n}")
            self._capsules[i].radius = capsules[i, 1]
            for j in range(6):
                self._capsules[i].ends[j] = capsules[i, 2 + j]
        self._pair_count = pairs.shape[0]
        for i in range(self._pair_count):
            for j in range(2):
                if not 0 <= pairs[i, j] < self._capsule_count:
                    raise ValueError(f"pair {i} names capsule {pairs[i, j]}")
                self._pairs[i][j] = pairs[i, j]
        self._plane_count = planes.shape[0]
        for i in range(self._plane_count):
            for j in range(4):
                self._planes[i][j] = planes[i, j]

    # Frames 0 to n are the base's and those after each joint; n + 1 is the TCP.
    cdef void _forward(self, const double *q, Frame *frames) noexcept nogil:
        cdef Frame turn
        cdef int i
        cdef double ca, sa, c, s
        for i in range(9):
            frames[0].r[i] = 1.0 if i % 4 == 0 else 0.0
        for i in range(3):
            frames[0].p[i] = 0.0
        for i in range(self.joints):
            ca, sa = self._dh[i][4], self._dh[i][5]
            c, s = cos(q[i] + self._dh[i][3]), sin(q[i] + self._dh[i][3])
            turn.r[0], turn.r[1], turn.r[2] = c, -s, 0.0
            turn.r[3], turn.r[4], turn.r[5] = s * ca, c * ca, -sa
            turn.r[6], turn.r[7], turn.r[8] = s * sa, c * sa, ca
            turn.p[0] = self._dh[i][0]
            turn.p[1] = -self._dh[i][2] * sa
            turn.p[2] = self._dh[i][2] * ca
            compose(&frames[i], &turn, &frames[i + 1])
        compose(&frames[self.joints], &self._tool, &frames[self.joints + 1])

    cdef void _jacobian(self, const Frame *frames, double *jacobian) noexcept nogil:
        """jacobian (6, n) [m/rad, -] of the TCP in the base frame."""
        cdef int i, k, n = self.joints
        cdef double axis[3]
        cdef double arm[3]
        cdef double linear[3]
        for i in range(n):
            for k in range(3):
                axis[k] = frames[i + 1].r[3 * k + 2]
                arm[k] = frames[n + 1].p[k] - frames[i + 1].p[k]
            cross3(axis, arm, linear)
            for k in range(3):
                jacobian[k * n + i] = linear[k]
                jacobian[(3 + k) * n + i] = axis[k]

    cdef void _miss(self, const Frame *frames, const double *setpoint, double *miss) noexcept nogil:
        """miss (6,) = from the TCP to a setpoint [m, rad]."""
        cdef double quaternion[4]
        cdef const Frame *tcp = &frames[self.joints + 1]
        cdef int k
        for k in range(3):
            miss[k] = setpoint[k] - tcp.p[k]
        quaternion_of(tcp.r, quaternion)
        rotation_between(quaternion, &setpoint[3], &miss[3])

    cdef void _facts(self, const Frame *frames, const double *setpoint, double *facts) noexcept nogil:
        cdef double miss[6]
        self._miss(frames, setpoint, miss)
        facts[0] = norm3(miss)
        facts[1] = norm3(&miss[3])
        facts[2] = self._manipulability(frames)
        facts[3] = self._self_clearance(frames)
        facts[4] = self._plane_clearance(frames)

    cdef double _manipulability(self, const Frame *frames) noexcept nogil:
        """Return sqrt(det(J J^T)); 0 where a direction is lost."""
        cdef double jacobian[6 * MAX_JOINTS]
        cdef double square[36]
        cdef int i, j, k, n = self.joints
        cdef double total, product = 1.0
        self._jacobian(frames, jacobian)
        for i in range(6):
            for j in range(i + 1):
                total = 0.0
                for k in range(n):
                    total += jacobian[i * n + k] * jacobian[j * n + k]
                for k in range(j):
                    total -= square[i * 6 + k] * square[j * 6 + k]
                if i == j:
                    if not total > 0.0:
                        return 0.0
                    square[i * 6 + i] = sqrt(total)
                    product *= square[i * 6 + i]
                else:
                    square[i * 6 + j] = total / square[j * 6 + j]
        return product

    cdef double _self_clearance(self, const Frame *frames) noexcept nogil:
        cdef double ends[MAX_CAPSULES][6]
        cdef double nearest = INFINITY
        cdef int i, a, b
        for i in range(self._capsule_count):
            place(&frames[self._capsules[i].link], &self._capsules[i].ends[0], &ends[i][0])
            place(&frames[self._capsules[i].link], &self._capsules[i].ends[3], &ends[i][3])
        for i in range(self._pair_count):
            a, b = self._pairs[i][0], self._pairs[i][1]
            nearest = fmin(
                nearest,
                segment_distance(ends[a], ends[b])
                - self._capsules[a].radius - self._capsules[b].radius,
            )
        return nearest

    cdef double _plane_clearance(self, const Frame *frames) noexcept nogil:
        """Return the least distance of a moving link to a plane; links 0 and 1 do not reach any."""
        cdef double end[3]
        cdef double nearest = INFINITY
        cdef int i, k, side
        for i in range(self._capsule_count):
            if self._capsules[i].link < 2:
                continue
            for side in range(2):
                place(&frames[self._capsules[i].link], &self._capsules[i].ends[3 * side], end)
                for k in range(self._plane_count):
                    nearest = fmin(
                        nearest,
                        dot3(self._planes[k], end) - self._planes[k][3] - self._capsules[i].radius,
                    )
        return nearest

    def tcp(self, const double[::1] q, double[::1] pose_out):
        """Write the TCP (7,) for joint positions (n,)."""
        cdef Frame frames[MAX_JOINTS + 2]
        cdef int k
        if q.shape[0] != self.joints or pose_out.shape[0] < 7:
            raise ValueError(f"tcp: expected q ({self.joints},) and pose_out (7,)")
        self._forward(&q[0], frames)
        for k in range(3):
            pose_out[k] = frames[self.joints + 1].p[k]
        quaternion_of(frames[self.joints + 1].r, &pose_out[3])
