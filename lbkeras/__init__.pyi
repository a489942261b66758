from lbkeras import analysis as analysis
from lbkeras import callbacks as callbacks
from lbkeras import config as config
from lbkeras import data as data
from lbkeras import devices as devices
from lbkeras import distribution as distribution
from lbkeras import errors as errors
from lbkeras import layers as layers
from lbkeras import losses as losses
from lbkeras import models as models
from lbkeras import optimizers as optimizers
from lbkeras import planning as planning
from lbkeras import replication as replication
from lbkeras import schedules as schedules
from lbkeras import trainers as trainers
from lbkeras.advice.advise import advise as advise
from lbkeras.replication.compare import compare as compare

__version__: str
